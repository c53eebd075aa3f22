using FolderRounds;
using Microsoft.Extensions.Hosting;

// reads appsettings.json from the program's folder, whatever the current folder is
var settings = new HostApplicationBuilderSettings { Args = args, ContentRootPath = AppContext.BaseDirectory };
HostApplicationBuilder builder = Host.CreateApplicationBuilder(settings);
builder.AddFolderRounds();
return await FolderRoundsHost.RunAsync(builder.Build());
